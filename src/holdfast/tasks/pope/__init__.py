"""POPE"""
