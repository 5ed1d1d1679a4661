"""Readers of other tools' prediction files"""
