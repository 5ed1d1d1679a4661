"""OCRBench"""
