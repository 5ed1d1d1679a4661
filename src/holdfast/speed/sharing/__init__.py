"""Rows that several questions about one image share, their masks and batches"""
