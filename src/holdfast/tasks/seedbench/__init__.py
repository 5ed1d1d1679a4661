"""SEED-Bench"""
