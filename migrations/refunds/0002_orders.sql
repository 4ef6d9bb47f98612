alter table refunds.refunds drop constraint refunds_subject_type,
  add constraint refunds_subject_type check (subject_type in ('purchase', 'payment_request', 'run', 'order'));
