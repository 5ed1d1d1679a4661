"""VQA v2 and OK-VQA"""
