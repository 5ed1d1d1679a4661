"""MMStar"""
