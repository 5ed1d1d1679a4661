"""VizWiz"""
