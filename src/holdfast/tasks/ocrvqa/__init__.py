"""OCR-VQA"""
