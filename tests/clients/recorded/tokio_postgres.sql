-- [Parse name='s2' paramoids=[]]
-- [Bind portal='' pfmt=[1] rfmt=[1] vals=['0x00004002']]
SELECT t.typname, t.typtype, t.typelem, r.rngsubtype, t.typbasetype, n.nspname, t.typrelid
FROM pg_catalog.pg_type t
LEFT OUTER JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
INNER JOIN pg_catalog.pg_namespace n ON t.typnamespace = n.oid
WHERE t.oid = $1;

-- [Parse name='s3' paramoids=[]]
-- [Bind portal='' pfmt=[1] rfmt=[1] vals=['0x00004002']]
SELECT enumlabel
FROM pg_catalog.pg_enum
WHERE enumtypid = $1
ORDER BY enumsortorder;
