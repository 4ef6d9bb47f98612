// Every hostile value in every field, and not a share of them.
process.env['HOSTILE_SHARES'] = '1';
await import('../http/hostile-values.test.ts');
