"""RealWorldQA"""
