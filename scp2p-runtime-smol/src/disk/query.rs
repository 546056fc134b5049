//! Entries as documents of the index, and words as queries for them.

use std::ops::Bound;

use scp2p_proto::id::{ContentId, ShareId};
use scp2p_proto::record::{Item, Manifest};
use tantivy::collector::{Count, TopDocs};
use tantivy::query::{
    BooleanQuery, BoostQuery, ConstScoreQuery, DisjunctionMaxQuery, Occur, Query, RangeQuery,
    TermQuery,
};
use tantivy::schema::{
    Field, INDEXED, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions, Value,
};
use tantivy::{Searcher, TantivyDocument, TantivyError, Term};

use super::search::{SearchHit, SearchPage, SearchQuery};
use super::words::{Word, Words};

/// How much of a share's description each entry is found by.
const DESCRIPTION_BYTES: usize = 1024;
/// Words of a query that count.
const WORDS_MAX: usize = 32;
/// What a word scores by the place it is found in: name, path, tags, title, description.
const PLACE_SCORES: [f32; 5] = [100.0, 60.0, 40.0, 20.0, 10.0];
/// Part of that score for a word of which only the beginning is given.
const PREFIX_SHARE: f32 = 0.6;
/// Weight of how rare a word is and how short the name, which orders what scores alike.
const RARITY_WEIGHT: f32 = 0.1;

/// The fields of a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    /// The share's id; entries are removed by it.
    pub(super) share: Field,
    /// Where words are found, as in [`PLACE_SCORES`].
    texts: [Field; 5],
    title: Field,
    place: Field,
    content: Field,
    size: Field,
    mime: Field,
    tag: Field,
}

impl Fields {
    /// The index's schema and its fields.
    pub(super) fn schema() -> (Schema, Fields) {
        let mut schema = Schema::builder();
        let words = TextFieldIndexing::default()
            .set_tokenizer("whitespace")
            .set_index_option(IndexRecordOption::WithFreqs);
        let words = TextOptions::default().set_indexing_options(words);
        let texts = ["name", "path", "tags", "title", "description"];
        let fields = Fields {
            share: schema.add_bytes_field("share", INDEXED | STORED),
            texts: texts.map(|name| schema.add_text_field(name, words.clone())),
            title: schema.add_text_field("shown_title", STORED),
            place: schema.add_text_field("place", STORED),
            content: schema.add_bytes_field("content", STORED),
            size: schema.add_u64_field("size", STORED),
            mime: schema.add_text_field("mime", STORED),
            tag: schema.add_text_field("tag", STORED),
        };
        (schema.build(), fields)
    }
}

/// An entry of a catalog as a document.
pub(super) fn document(
    fields: &Fields,
    words: &mut Words,
    share: ShareId,
    manifest: &Manifest,
    item: &Item,
) -> TantivyDocument {
    let mut document = TantivyDocument::new();
    let description = beginning(manifest.description.as_deref().unwrap_or_default());
    let tags = item.tags.join(" ");
    let path = item.path.as_deref().unwrap_or_default();
    let texts = [
        &item.name,
        path,
        &tags,
        manifest.title.as_deref().unwrap_or_default(),
        description,
    ];
    for (field, text) in fields.texts.into_iter().zip(texts) {
        if !text.is_empty() {
            document.add_text(field, words.indexed(text));
        }
    }
    document.add_bytes(fields.share, &share.0);
    document.add_text(fields.place, item.place());
    document.add_bytes(fields.content, &item.content.0);
    document.add_u64(fields.size, item.size);
    if let Some(title) = &manifest.title {
        document.add_text(fields.title, title);
    }
    if let Some(mime) = &item.mime {
        document.add_text(fields.mime, mime);
    }
    for tag in &item.tags {
        document.add_text(fields.tag, tag);
    }
    document
}

/// Looks up a page of hits.
pub(super) fn find(searcher: &Searcher, query: &SearchQuery) -> Result<SearchPage, TantivyError> {
    let (_, fields) = Fields::schema();
    let mut words = Words::new().split(&query.text);
    words.truncate(WORDS_MAX);
    let Some((last, others)) = words.split_last() else {
        return Ok(SearchPage::default());
    };
    let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
    for (word, is_last) in others
        .iter()
        .map(|word| (word, false))
        .chain([(last, true)])
    {
        clauses.push((Occur::Must, word_query(&fields, word, is_last)));
        let rarity = BoostQuery::new(exactly(fields.texts[0], &word.whole), RARITY_WEIGHT);
        clauses.push((Occur::Should, Box::new(rarity)));
    }
    if let Some(share) = query.share {
        let share = TermQuery::new(
            Term::from_field_bytes(fields.share, &share.0),
            IndexRecordOption::Basic,
        );
        clauses.push((
            Occur::Must,
            Box::new(ConstScoreQuery::new(Box::new(share), 0.0)),
        ));
    }
    let all = BooleanQuery::new(clauses);
    // The collector reserves memory for all it skips, so it skips no more than there is.
    if u64::from(query.offset) >= searcher.num_docs() {
        return Ok(SearchPage {
            total: searcher.search(&all, &Count)? as u64,
            hits: Vec::new(),
        });
    }
    let page = TopDocs::with_limit(query.limit as usize).and_offset(query.offset as usize);
    let (found, total) = searcher.search(&all, &(page.order_by_score(), Count))?;
    let hit = |(score, address)| Ok(hit(&fields, &searcher.doc(address)?, score));
    let hits = found
        .into_iter()
        .map(hit)
        .collect::<Result<Vec<SearchHit>, TantivyError>>()?;
    Ok(SearchPage {
        total: total as u64,
        hits,
    })
}

/// Finds a word, or all its parts, in any place.
fn word_query(fields: &Fields, word: &Word, is_last: bool) -> Box<dyn Query> {
    let whole = anywhere(fields, &word.whole, is_last);
    let Some((last, others)) = word.parts.split_last() else {
        return whole;
    };
    let score = 1.0 / word.parts.len() as f32;
    let parts = others
        .iter()
        .map(|part| (part, false))
        .chain([(last, is_last)]);
    let parts = parts.map(|(part, is_last)| {
        let part: Box<dyn Query> =
            Box::new(BoostQuery::new(anywhere(fields, part, is_last), score));
        (Occur::Must, part)
    });
    Box::new(DisjunctionMaxQuery::new(vec![
        whole,
        Box::new(BooleanQuery::new(parts.collect())),
    ]))
}

/// Finds a word in any place; the best one counts.
fn anywhere(fields: &Fields, word: &str, is_prefix: bool) -> Box<dyn Query> {
    let mut places: Vec<Box<dyn Query>> = Vec::new();
    for (field, score) in fields.texts.into_iter().zip(PLACE_SCORES) {
        places.push(Box::new(ConstScoreQuery::new(exactly(field, word), score)));
        if is_prefix {
            let begins = RangeQuery::new(
                Bound::Included(Term::from_field_text(field, word)),
                Bound::Excluded(Term::from_field_text(
                    field,
                    &format!("{word}{}", char::MAX),
                )),
            );
            places.push(Box::new(ConstScoreQuery::new(
                Box::new(begins),
                score * PREFIX_SHARE,
            )));
        }
    }
    Box::new(DisjunctionMaxQuery::new(places))
}

fn exactly(field: Field, word: &str) -> Box<dyn Query> {
    Box::new(TermQuery::new(
        Term::from_field_text(field, word),
        IndexRecordOption::WithFreqs,
    ))
}

fn hit(fields: &Fields, document: &TantivyDocument, score: f32) -> SearchHit {
    let text = |field| {
        document
            .get_first(field)
            .and_then(|value| value.as_str())
            .map(str::to_owned)
    };
    let id = |field| {
        let bytes = document.get_first(field).and_then(|value| value.as_bytes());
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .unwrap_or_default()
    };
    let tags = document
        .get_all(fields.tag)
        .filter_map(|value| value.as_str());
    SearchHit {
        share: ShareId(id(fields.share)),
        share_title: text(fields.title),
        place: text(fields.place).unwrap_or_default(),
        content: ContentId(id(fields.content)),
        size: document
            .get_first(fields.size)
            .and_then(|value| value.as_u64())
            .unwrap_or_default(),
        mime: text(fields.mime),
        tags: tags.map(str::to_owned).collect(),
        score_milli: (score * 1000.0) as u32,
    }
}

/// The first bytes of a text, cut at a character.
fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(DESCRIPTION_BYTES)]
}
