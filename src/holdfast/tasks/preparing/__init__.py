"""From an official download to Holdfast examples: one writer for all benchmarks"""
