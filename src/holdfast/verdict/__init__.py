"""What two sets of predictions on the same items say about each other; none of it needs a model"""
