"""Intervals and tests on paired scores whose items may share images"""
