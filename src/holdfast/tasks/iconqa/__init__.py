"""IconQA"""
