"""RSVQA"""
