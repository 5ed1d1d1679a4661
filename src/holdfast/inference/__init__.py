"""Asking a model: predictions, decoding in shared rows, options by likelihood"""
