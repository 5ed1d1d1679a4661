"""ScienceQA"""
