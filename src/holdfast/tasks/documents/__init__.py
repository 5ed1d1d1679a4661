"""Text in documents, scenes and charts: DocVQA, InfographicVQA, ST-VQA, ChartQA"""
