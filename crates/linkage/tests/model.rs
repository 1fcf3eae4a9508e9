//! Models: the shipped one is valid, others are refused for what is wrong with them, and training finds what it should.

use linkage::{Model, ModelError};

#[test]
fn the_shipped_model_is_valid_and_goes_through_json() {
    let model = Model::shipped();
    let text = serde_json::to_string(&model).unwrap();
    assert_eq!(Model::from_json(&text).unwrap(), model);
}

#[test]
fn a_model_that_fails_validation_is_refused() {
    let change = |by: &dyn Fn(&mut Model)| {
        let mut model = Model::shipped();
        by(&mut model);
        model.validate().unwrap_err()
    };
    assert_eq!(change(&|model| model.form = 99), ModelError::Form);
    assert_eq!(change(&|model| model.probabilities[0][1][0] = 0.0), ModelError::Probability("name"));
    assert_eq!(change(&|model| model.probabilities[0][1][0] = f64::NAN), ModelError::Probability("name"));
    assert_eq!(change(&|model| model.probabilities[2][3][0] += 0.1), ModelError::Probability("sex"));
    assert_eq!(change(&|model| model.probabilities[1][0].truncate(3)), ModelError::Comparison("identifier"));
    assert_eq!(change(&|model| model.probabilities[4].truncate(8)), ModelError::Comparison("place"));
    assert_eq!(change(&|model| model.probabilities[0].push(vec![0.5, 0.5])), ModelError::Form);
    assert_eq!(change(&|model| model.expected[0] = -1.0), ModelError::Expected);
    assert_eq!(change(&|model| model.expected[3] = f64::INFINITY), ModelError::Expected);
    assert_eq!(change(&|model| model.possible_from = 0.9), ModelError::Thresholds);
    assert_eq!(change(&|model| model.sure_from = 1.0), ModelError::Thresholds);
    assert!(matches!(Model::from_json("{}"), Err(ModelError::Json(_))));
}
