"""Scripts that a test starts and Lightning starts once more: two processes train one model."""
