"""TextVQA"""
