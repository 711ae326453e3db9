//! What was observed of the closest rival, each row a test of ours: B1 to B12. Relay and agent are real processes.

mod b01_a_post_is_repeated;
mod b02_what_is_matched_is_not_what_is_sent;
mod b03_binary_data_is_corrupted;
mod b04_request_bodies_end_at_10_mb;
mod b05_the_agent_dies_and_the_caller_hears_nothing;
mod b06_a_call_to_a_site_that_is_away;
mod b07_a_refusal_looks_like_a_failed_login;
mod b08_cookies_reach_the_upstream;
mod b09_the_rules_are_uploaded;
mod b10_two_sockets;
mod b11_a_local_port_without_authentication;
mod b12_dead_credentials_end_the_process;
