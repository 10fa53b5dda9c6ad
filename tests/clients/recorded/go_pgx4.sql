-- [Parse name='lrupsc_1_0' paramoids=[]]
-- [Bind portal='' pfmt=[0] rfmt=[1] vals=["'public'"]]
SELECT table_name FROM information_schema.tables WHERE table_schema = $1 AND table_type IN ('BASE TABLE', 'VIEW') ORDER BY table_name;
