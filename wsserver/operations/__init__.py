"""Operations: a cluster seen and steered from outside, by questions that each process answers (design section 14)."""
