"""One operator: the duties it performs and the Celery tasks that carry them."""
