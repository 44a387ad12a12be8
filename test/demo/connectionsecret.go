package main

import (
	"context"
	"encoding/base64"
	"fmt"
)

// vandelay is the sample that has no Fly app, and a Secret instead.
const vandelay, vandelayID = "vandelay", "5c8e2f90-3d17-4b6a-8e25-7f0b1a9c4d07"

// rotateIntoSecret rotates vandelay, and logs in with the url that its Secret has then.
func (d *demo) rotateIntoSecret(ctx context.Context) (string, error) {
	object, err := get(ctx, vandelay)
	if err != nil {
		return "", err
	}
	patch := fmt.Sprintf(`{"spec":{"rotationGeneration":%d}}`, max(object.Status.RotationGeneration, object.Spec.RotationGeneration)+1)
	if _, err := kubectl(ctx, "", "-n", "tenants-sandbox", "patch", "tcred", vandelay, "--type=merge", "-p", patch); err != nil {
		return "", err
	}
	d.due[vandelayID]++
	if _, err := ready(vandelay)(ctx); err != nil {
		return "", err
	}
	encoded, err := kubectl(ctx, "", "-n", "tenants-sandbox", "get", "secret", "vandelay-db", "-o", "jsonpath={.data.url}")
	if err != nil {
		return "", err
	}
	url, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", err
	}
	if code := login(ctx, string(url)); code != "" {
		return "", fmt.Errorf("the url in Secret vandelay-db is refused: %s", code)
	}
	return "Secret vandelay-db has a url that logs in", nil
}
