"""MMBench"""
