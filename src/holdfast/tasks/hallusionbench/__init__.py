"""HallusionBench"""
