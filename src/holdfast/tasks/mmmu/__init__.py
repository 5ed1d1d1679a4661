"""MMMU"""
