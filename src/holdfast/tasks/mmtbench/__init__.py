"""MMT-Bench"""
