-- [Parse name='tazl3hq96b1' paramoids=[]]
-- [Bind portal='' pfmt=[] rfmt=[] vals=[]]
select b.oid, b.typarray
      from pg_catalog.pg_type a
      left join pg_catalog.pg_type b on b.oid = a.typelem
      where a.typcategory = 'A'
      group by b.oid, b.typarray
      order by b.oid;
