"""The one record of an answer, its file, and readers of tools that hold many tasks; none of it needs a model"""
