"""How the pocket model was made: only its build needs these"""
