"""Metrics that serve several tasks, found by name"""
