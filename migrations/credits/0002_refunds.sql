-- no transaction: many millions of transfers are not to be locked while they are looked at.
alter table credits.transfers drop constraint if exists transfers_routes;
alter table credits.transfers add constraint transfers_routes check ((kind, debit, credit) in (
    ('purchase', 'issued', 'available'),
    ('grant', 'issued', 'available'),
    ('spend', 'available', 'revenue'),
    ('return', 'revenue', 'available'),
    ('hold', 'available', 'held'),
    ('capture', 'held', 'revenue'),
    ('capture', 'held', 'clawback'),
    ('release', 'held', 'available'),
    ('clawback', 'debt', 'clawback'),
    ('repay', 'available', 'debt'),
    ('adjust', 'issued', 'available'),
    ('adjust', 'available', 'issued'),
    ('link', 'available', 'linked'),
    ('link', 'linked', 'available'))) not valid;
alter table credits.transfers validate constraint transfers_routes;
alter table credits.transfers drop constraint if exists transfers_route;
