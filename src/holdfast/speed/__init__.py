"""Exact speed-ups, and whether they engaged"""
