create index refunds_completed on refunds.refunds (completed_at) where completed_at is not null;
