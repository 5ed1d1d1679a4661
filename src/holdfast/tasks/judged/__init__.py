"""Hallucination measures that a judge or another tool has made: CHAIR, MMHal"""
