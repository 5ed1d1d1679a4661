"""Captions: COCO, Flickr30k, nocaps, TextCaps"""
