//! ALTER TABLE in PostgreSQL's and ClickHouse's form: any number of actions, parted by commas.
//!
//! Nothing is bound here: actions may refer to columns that those before them make, so whoever carries them out binds each in its turn.

use sqlparser::tokenizer::Token;

use super::ast::Ast;
use super::cursor::Cursor;
use super::statement::ready;
use super::{datatype, replay, table, view};
use crate::error::{Error, ErrorKind, Result};
use crate::statement::{
    AddColumn, AlterAction, AlterTable, ObjectKind, PartitionAction, PartitionName, Place, SetType, Statement,
};

/// After ALTER: of a table, view or materialized view.
pub(super) fn alter(c: &mut Cursor<'_>) -> Result<Ast> {
    let kind = match c.one_of(&["TABLE", "MATERIALIZED VIEW", "VIEW"]) {
        Some("TABLE") => ObjectKind::Table,
        Some("VIEW") => ObjectKind::View,
        Some(_) => ObjectKind::MaterializedView,
        None => return Err(c.unexpected()),
    };
    if c.is_words("ALL IN TABLESPACE") {
        return Err(c.unsupported("ALTER TABLE ALL IN TABLESPACE"));
    }
    let if_exists = c.words("IF EXISTS");
    c.words("ONLY");
    let name = c.object_name()?;
    c.token(&Token::Mul);
    if c.is_words("ON CLUSTER") {
        return Err(c.unsupported("ON CLUSTER").with_hint("Weir runs on one machine."));
    }
    if (kind == ObjectKind::MaterializedView && c.words("AS")) || c.words("MODIFY QUERY") {
        return view::new_query(c, name, if_exists);
    }
    let actions = match c.comma_separated(action) {
        Ok(actions) => actions.concat(),
        // Understood, and refused when it is bound, as other statements that Weir does not have.
        Err(error) if error.kind == ErrorKind::Unsupported => {
            c.rest();
            return Ok(Ast::Unsupported(Box::new(error)));
        }
        Err(error) => return Err(error),
    };
    Ok(ready(Statement::AlterTable(Box::new(AlterTable { kind, name, if_exists, actions }))))
}

fn action(c: &mut Cursor<'_>) -> Result<Vec<AlterAction>> {
    let one = |action| Ok(vec![action]);
    if let Some(action) = partition(c)? {
        return one(AlterAction::Partition(action));
    }
    if let Some(action) = replay::action(c)? {
        return one(AlterAction::Replay(action));
    }
    if c.is_word("ADD") {
        return add(c).and_then(one);
    }
    if c.words("DROP CONSTRAINT") {
        let if_exists = c.words("IF EXISTS");
        let name = c.ident()?;
        let _ = c.words("CASCADE") || c.words("RESTRICT");
        return one(AlterAction::DropConstraint { name, if_exists });
    }
    if c.is_words("VALIDATE CONSTRAINT") {
        return Err(c.unsupported("VALIDATE CONSTRAINT"));
    }
    if c.words("DROP INDEX") || c.words("DROP PROJECTION") || c.words("DROP STATISTICS") {
        return Err(c.unsupported("an index in ALTER TABLE"));
    }
    if c.words("DROP") {
        c.words("COLUMN");
        let if_exists = c.words("IF EXISTS");
        let column = c.ident()?;
        let cascade = c.words("CASCADE");
        c.words("RESTRICT");
        return one(AlterAction::DropColumn { column, if_exists, cascade });
    }
    if c.words("RENAME TO") {
        return one(AlterAction::RenameTo(c.ident()?));
    }
    if c.words("RENAME") {
        c.words("COLUMN");
        let if_exists = c.words("IF EXISTS");
        let column = c.ident()?;
        c.expect_words("TO")?;
        return one(AlterAction::RenameColumn { column, to: c.ident()?, if_exists });
    }
    if c.words("SET SCHEMA") {
        return one(AlterAction::SetSchema(c.ident()?));
    }
    if c.is_words("SET") && *c.peek_nth(1) == Token::LParen {
        c.advance();
        return one(AlterAction::SetOptions(options(c)?));
    }
    if c.words("RESET") {
        c.expect(&Token::LParen)?;
        let names = c.comma_separated(Cursor::ident)?;
        c.expect(&Token::RParen)?;
        return one(AlterAction::ResetOptions(names));
    }
    if c.words("MODIFY SETTING") {
        return one(AlterAction::SetOptions(table::settings(c)?));
    }
    if c.words("RESET SETTING") {
        return one(AlterAction::ResetOptions(c.comma_separated(Cursor::ident)?));
    }
    if c.words("MODIFY TTL") {
        return one(AlterAction::SetTtl(table::ttl(c)?));
    }
    if c.words("REMOVE TTL") {
        return one(AlterAction::SetTtl(Vec::new()));
    }
    if c.words("MODIFY COMMENT") {
        return one(AlterAction::Comment(Some(c.string()?)));
    }
    if c.words("COMMENT COLUMN") {
        c.words("IF EXISTS");
        let column = c.ident()?;
        return one(AlterAction::CommentColumn { column, comment: Some(c.string()?) });
    }
    if c.words("OWNER TO") {
        c.ident()?;
        return Ok(Vec::new());
    }
    if c.words("MODIFY ORDER BY") {
        return Err(c.unsupported("MODIFY ORDER BY"));
    }
    if c.words("MODIFY QUERY") {
        return Err(c
            .unsupported("MODIFY QUERY")
            .with_hint("Make a new view, then rename it in the same transaction."));
    }
    if c.words("MODIFY") {
        c.words("COLUMN");
        return modify(c);
    }
    if c.words("ALTER") {
        c.words("COLUMN");
        return alter_column(c);
    }
    if c.is_any(&["UPDATE", "DELETE"]) {
        return Err(c.unsupported("a mutation in ALTER TABLE").with_hint("Use UPDATE or DELETE."));
    }
    Err(c.unexpected())
}

fn options(c: &mut Cursor<'_>) -> Result<Vec<(String, String)>> {
    c.expect(&Token::LParen)?;
    let options = c.comma_separated(table::option)?;
    c.expect(&Token::RParen)?;
    Ok(options)
}

fn add(c: &mut Cursor<'_>) -> Result<AlterAction> {
    c.expect_words("ADD")?;
    let at = c.position();
    if c.words("CONSTRAINT") {
        c.ident()?;
        if !c.is_words("PRIMARY KEY") {
            return Err(no_constraint(c));
        }
    }
    if c.words("PRIMARY KEY") {
        if c.is_word("USING") {
            return Err(c.unsupported("PRIMARY KEY USING INDEX"));
        }
        c.expect(&Token::LParen)?;
        let columns = c.comma_separated(Cursor::ident)?;
        c.expect(&Token::RParen)?;
        table::key_checks(c);
        return Ok(AlterAction::AddPrimaryKey { columns });
    }
    if c.is_any(&["UNIQUE", "CHECK", "FOREIGN", "EXCLUDE"]) {
        return Err(no_constraint(c));
    }
    if c.is_any(&["INDEX", "PROJECTION", "STATISTICS"]) && matches!(c.peek_nth(2), Token::Word(_) | Token::LParen) {
        return Err(c.unsupported("adding an index"));
    }
    c.words("COLUMN");
    let if_not_exists = c.words("IF NOT EXISTS");
    let mut column = AddColumn {
        name: c.ident()?,
        ty: crate::types::Type::Unknown,
        nullable: None,
        default: None,
        codec: None,
        collation: None,
        comment: None,
        scale: None,
        ttl: None,
        if_not_exists,
        place: None,
    };
    if is_at_end(c) {
        return Err(Error::new(ErrorKind::Syntax, format!("column \"{}\" has no type", column.name)).at(at));
    }
    let data_type = c.rule(|p| p.parse_data_type())?;
    column.ty = datatype::type_of(&data_type).map_err(|error| error.at(at))?;
    column.scale = datatype::scale_of(&data_type);
    column.nullable = datatype::is_nullable(&data_type).then_some(true);
    while !is_at_end(c) {
        if place(c, &mut column.place)? {
        } else if c.words("NOT NULL") {
            column.nullable = Some(false);
        } else if c.words("NULL") {
            column.nullable = Some(true);
        } else if c.words("DEFAULT") {
            column.default = Some(c.written()?.text);
        } else if c.words("CODEC") {
            column.codec = Some(c.parenthesised_text()?);
        } else if c.words("COMMENT") {
            column.comment = Some(c.string()?);
        } else if c.words("COLLATE") {
            column.collation = Some(table::collation(c)?);
        } else if c.is_any(&["UNIQUE", "CHECK", "REFERENCES", "CONSTRAINT"]) || c.is_words("PRIMARY KEY") {
            return Err(c.unsupported("adding a constraint"));
        } else if c.is_any(&["GENERATED", "MATERIALIZED", "ALIAS", "EPHEMERAL"]) {
            return Err(c.unsupported("a computed column"));
        } else if c.words("TTL") {
            column.ttl = Some(table::column_ttl(c, Some(column.name.clone()))?);
        } else {
            return Err(c.unexpected());
        }
    }
    Ok(AlterAction::AddColumn(Box::new(column)))
}

fn no_constraint(c: &Cursor<'_>) -> Error {
    c.unsupported("adding a constraint other than PRIMARY KEY")
        .with_hint("Weir enforces NOT NULL and PRIMARY KEY; check other rules where the rows come from.")
}

fn is_at_end(c: &Cursor<'_>) -> bool {
    c.at_end() || *c.peek() == Token::Comma
}

fn place(c: &mut Cursor<'_>, place: &mut Option<Place>) -> Result<bool> {
    if c.words("FIRST") {
        *place = Some(Place::First);
        return Ok(true);
    }
    if c.words("AFTER") {
        *place = Some(Place::After(c.ident()?));
        return Ok(true);
    }
    Ok(false)
}

/// ALTER COLUMN of PostgreSQL, and ClickHouse's `ALTER COLUMN c TYPE t`.
fn alter_column(c: &mut Cursor<'_>) -> Result<Vec<AlterAction>> {
    let if_exists = c.words("IF EXISTS");
    let column = c.ident()?;
    let action = if c.words("SET DATA TYPE") || c.words("TYPE") {
        let mut set = set_type(c, column)?;
        set.if_exists = if_exists;
        if c.words("COLLATE") {
            set.collation = Some(table::collation(c)?);
        }
        if c.words("USING") {
            set.using = Some(c.written()?.text);
        }
        AlterAction::SetType(Box::new(set))
    } else if c.words("SET DEFAULT") {
        AlterAction::SetDefault { column, default: Some(c.written()?.text) }
    } else if c.words("DROP DEFAULT") {
        AlterAction::SetDefault { column, default: None }
    } else if c.words("SET NOT NULL") {
        AlterAction::SetNotNull { column, not_null: true }
    } else if c.words("DROP NOT NULL") {
        AlterAction::SetNotNull { column, not_null: false }
    } else if c.words("SET STATISTICS") || c.words("SET STORAGE") || c.words("SET COMPRESSION") {
        c.advance();
        return Ok(Vec::new());
    } else {
        return Err(c.unexpected());
    };
    Ok(vec![action])
}

fn set_type(c: &mut Cursor<'_>, column: String) -> Result<SetType> {
    let at = c.position();
    let data_type = c.rule(|p| p.parse_data_type())?;
    let ty = datatype::type_of(&data_type).map_err(|error| error.at(at))?;
    let nullable = datatype::is_nullable(&data_type);
    Ok(SetType {
        column,
        ty,
        scale: datatype::scale_of(&data_type),
        nullable,
        collation: None,
        using: None,
        clickhouse: false,
        if_exists: false,
    })
}

/// ClickHouse's MODIFY COLUMN: a type, a default, and more, each left off at will.
fn modify(c: &mut Cursor<'_>) -> Result<Vec<AlterAction>> {
    let if_exists = c.words("IF EXISTS");
    let column = c.ident()?;
    let mut actions = Vec::new();
    const OPTIONS: &[&str] =
        &["DEFAULT", "CODEC", "COMMENT", "REMOVE", "FIRST", "AFTER", "TTL", "MATERIALIZED", "ALIAS", "MODIFY"];
    if !is_at_end(c) && !c.is_any(OPTIONS) {
        let set = SetType { clickhouse: true, if_exists, ..set_type(c, column.clone())? };
        actions.push(AlterAction::SetType(Box::new(set)));
    }
    while !is_at_end(c) {
        let mut moved = None;
        if place(c, &mut moved)? {
            actions.extend(moved.map(|place| AlterAction::MoveColumn { column: column.clone(), place }));
        } else if c.words("DEFAULT") {
            let default = Some(c.written()?.text);
            actions.push(AlterAction::SetDefault { column: column.clone(), default });
        } else if c.words("REMOVE DEFAULT") {
            actions.push(AlterAction::SetDefault { column: column.clone(), default: None });
        } else if c.words("CODEC") {
            let codec = Some(c.parenthesised_text()?);
            actions.push(AlterAction::SetCodec { column: column.clone(), codec });
        } else if c.words("REMOVE CODEC") {
            actions.push(AlterAction::SetCodec { column: column.clone(), codec: None });
        } else if c.words("COMMENT") {
            let comment = Some(c.string()?);
            actions.push(AlterAction::CommentColumn { column: column.clone(), comment });
        } else if c.words("REMOVE COMMENT") {
            actions.push(AlterAction::CommentColumn { column: column.clone(), comment: None });
        } else if c.words("TTL") {
            let rule = Some(table::column_ttl(c, Some(column.clone()))?);
            actions.push(AlterAction::SetColumnTtl { column: column.clone(), rule });
        } else if c.words("REMOVE TTL") {
            actions.push(AlterAction::SetColumnTtl { column: column.clone(), rule: None });
        } else {
            return Err(c.unexpected());
        }
    }
    Ok(actions)
}

/// What is done with whole partitions.
fn partition(c: &mut Cursor<'_>) -> Result<Option<PartitionAction>> {
    if c.words("DROP PARTITION") {
        return Ok(Some(PartitionAction::Drop(partition_name(c)?)));
    }
    if c.is_words("DROP PART") || c.is_words("DETACH PART") || c.is_words("ATTACH PART") {
        return Err(c.unsupported("a single part in ALTER TABLE").with_hint("Name its partition."));
    }
    if c.is_words("DROP DETACHED PARTITION") || c.is_words("DROP DETACHED PART") {
        return Err(c.unsupported("DROP DETACHED").with_hint("Remove the files below the folder \"detached\"."));
    }
    if c.words("DETACH PARTITION") {
        return Ok(Some(PartitionAction::Detach(partition_name(c)?)));
    }
    if c.words("ATTACH PARTITION") {
        let name = partition_name(c)?;
        return Ok(Some(match c.words("FROM") {
            true => PartitionAction::AttachFrom(name, c.object_name()?),
            false => PartitionAction::Attach(name),
        }));
    }
    if c.words("REPLACE PARTITION") {
        let name = partition_name(c)?;
        c.expect_words("FROM")?;
        return Ok(Some(PartitionAction::Replace(name, c.object_name()?)));
    }
    if c.words("MOVE PARTITION") {
        let name = partition_name(c)?;
        if c.is_words("TO DISK") || c.is_words("TO VOLUME") {
            return Err(c
                .unsupported("MOVE PARTITION to a disk or volume")
                .with_hint("Weir keeps all parts in one folder."));
        }
        c.expect_words("TO TABLE")?;
        return Ok(Some(PartitionAction::Move(name, c.object_name()?)));
    }
    if c.words("FREEZE") {
        let partition = if c.words("PARTITION") { partition_name(c)? } else { PartitionName::All };
        let name = if c.words("WITH NAME") { Some(c.string()?) } else { None };
        return Ok(Some(PartitionAction::Freeze { partition, name }));
    }
    Ok(None)
}

/// `ALL`, `ID 'text'`, or a value of the partition key.
pub(super) fn partition_name(c: &mut Cursor<'_>) -> Result<PartitionName> {
    if c.is_word("ALL") {
        c.advance();
        return Ok(PartitionName::All);
    }
    if c.is_word("ID") && matches!(c.peek_nth(1), Token::SingleQuotedString(_)) {
        c.advance();
        return Ok(PartitionName::Id(c.string()?));
    }
    Ok(PartitionName::Value(c.written()?.text))
}
