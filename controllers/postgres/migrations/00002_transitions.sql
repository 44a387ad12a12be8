-- Generated from transitions.go by go generate. DO NOT EDIT.
-- +goose Up
insert into tenant_credentials.transitions (from_state, to_state) values
  ('', 'open'),
  ('open', 'staged'),
  ('staged', 'committed'),
  ('committed', 'completed'),
  ('committed', 'superseded'),
  ('open', 'discarded');
