"""PathVQA"""
