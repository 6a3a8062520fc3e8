"""The source files of a Hugging Face model repository, which `save_encoder` copies beside the weights.

They import torch, transformers and each other, and nothing else of this package. They work wherever the folder goes.
"""
