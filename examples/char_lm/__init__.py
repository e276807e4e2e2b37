"""A character-level language model: train it on a text, then let it write. See README.md.

python -m examples.char_lm train --minutes 2
python -m examples.char_lm sample --prime "The "
python -m examples.char_lm look
"""
