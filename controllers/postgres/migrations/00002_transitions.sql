-- Generated from transitions.go by go generate. DO NOT EDIT.
-- +goose Up
insert into tenant_credentials.transitions (from_state, to_state) values
  ('', 'open'),
  ('open', 'issued'),
  ('issued', 'issued'),
  ('open', 'staged'),
  ('issued', 'staged'),
  ('staged', 'committed'),
  ('committed', 'completed'),
  ('committed', 'rolled'),
  ('rolled', 'completed'),
  ('committed', 'superseded'),
  ('rolled', 'superseded'),
  ('open', 'discarded'),
  ('issued', 'discarded'),
  ('discarded', 'open');
