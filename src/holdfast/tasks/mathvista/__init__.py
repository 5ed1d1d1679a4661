"""MathVista"""
