"""From prediction files to scores and scorecards; none of it needs a model"""
