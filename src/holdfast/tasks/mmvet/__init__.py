"""MM-Vet"""
