//! The id that a broker gave a topic when it was made.
//!
//! A topic that is deleted and made again under its name is another stream whose offsets begin again: offsets alone do not tell it from the
//! one before as soon as it has as many records. `rdkafka` has no call for it, so this asks librdkafka's C interface.

use std::ffi::{CStr, CString};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings::*;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::IsError;

/// A topic's id in base64; `None` if the broker has none for it, as brokers before 2.8 do.
pub(super) fn topic_id<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<String>, String> {
    let name = CString::new(topic).map_err(|_| "the topic's name has a zero byte".to_string())?;
    let mut names = [name.as_ptr()];
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let client = consumer.client().native_ptr();
    // SAFETY: the client outlives this call, and with it the queue and the options made from it. Every object that is made here is destroyed
    // once, below, on the one way out, and nothing of the event is used after it is destroyed: the answer is copied before.
    // It pays for no benchmark: there is no safe call.
    unsafe {
        let topics = rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let options = rd_kafka_AdminOptions_new(client, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let queue = rd_kafka_queue_new(client);
        rd_kafka_AdminOptions_set_request_timeout(options, millis, ptr::null_mut(), 0);
        rd_kafka_DescribeTopics(client, topics, options, queue);
        // librdkafka answers by itself when the request's time is over.
        let event = rd_kafka_queue_poll(queue, millis.saturating_add(1000));
        let answer = if event.is_null() { Err("the broker does not answer".to_string()) } else { answer(event) };
        if !event.is_null() {
            rd_kafka_event_destroy(event);
        }
        rd_kafka_queue_destroy(queue);
        rd_kafka_AdminOptions_destroy(options);
        rd_kafka_TopicCollection_destroy(topics);
        answer
    }
}

/// The id in an answer about one topic.
///
/// # Safety
///
/// `event` is an event that is not destroyed yet.
unsafe fn answer(event: *mut rd_kafka_event_t) -> Result<Option<String>, String> {
    // SAFETY: all pointers are of the event, which the caller keeps, and are tested before they are followed; strings end with zero.
    unsafe {
        if rd_kafka_event_error(event).is_error() {
            return Err(CStr::from_ptr(rd_kafka_event_error_string(event)).to_string_lossy().into_owned());
        }
        let result = rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err("the broker answered another question".to_string());
        }
        let mut count = 0;
        let topics = rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if topics.is_null() || count == 0 {
            return Ok(None);
        }
        let error = rd_kafka_TopicDescription_error(*topics);
        if !error.is_null() && rd_kafka_error_code(error).is_error() {
            return Err(CStr::from_ptr(rd_kafka_error_string(error)).to_string_lossy().into_owned());
        }
        let id = rd_kafka_TopicDescription_topic_id(*topics);
        if id.is_null()
            || (rd_kafka_Uuid_most_significant_bits(id) == 0 && rd_kafka_Uuid_least_significant_bits(id) == 0)
        {
            return Ok(None);
        }
        Ok(Some(CStr::from_ptr(rd_kafka_Uuid_base64str(id)).to_string_lossy().into_owned()))
    }
}
